# The local cluster's container images (OCI tars).
.PHONY: images
IMAGES := build/images/pause.tar build/images/test.tar
images: $(IMAGES)
build/images/pause.tar build/images/test.tar &: tools/images.sh tools/images/pause.c tools/images/xtest.c
	tools/images.sh build/images
all: images
