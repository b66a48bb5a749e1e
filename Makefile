# Xebec: one Makefile. `make help` lists the targets; variants live side by side: make BUILD=asan|tsan|cov|fuzz
BUILD   ?= release
O       := build/$(BUILD)
GEN     := build/gen
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

CC     ?= gcc
CLANG  ?= clang
HOSTCC ?= gcc
PKGS   := libnghttp2 jansson yaml-0.1 libmnl libbpf libelf zlib openssl libpcre2-8

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef -Wno-format-truncation
ifneq ($(CI),)
WARN += -Werror
endif
HARDEN := -fPIE -fstack-protector-strong
OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread
OPT_cov     := -O0 -g --coverage
# clang 14 crashes on __builtin_assume_aligned under -fsanitize=alignment
OPT_fuzz    := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize=alignment
CPPFLAGS := -Iinclude -Icontrol -Idataplane -Ibpf -I$(GEN) -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   := -std=gnu17 -pthread $(WARN) $(HARDEN) $(OPT_$(BUILD))
LDFLAGS  := -pie -Wl,-z,relro,-z,now -pthread $(filter -fsanitize% --coverage,$(OPT_$(BUILD)))
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

# Libraries from the lowest layer up; tools/layers.sh holds who may include whom.
LIBS := base api store client apiserver controllers scheduler kubelet dataplane cluster
libdir  = $(if $(filter dataplane,$1),dataplane,control/$1)
libsrc  = $(wildcard $(call libdir,$1)/*.c $(call libdir,$1)/*/*.c) $(gensrc_$1)
libobj  = $(patsubst %.c,$O/%.o,$(call libsrc,$1))
ARCHIVES = $(foreach l,$(LIBS),$O/lib$l.a)
# a static archive lists top layers first
LINK_ORDER := cluster dataplane kubelet scheduler controllers apiserver client store api base
ROLE_OBJ := $(patsubst %.c,$O/%.o,$(wildcard control/roles/*.c))

.DEFAULT_GOAL := all
.SECONDARY:
.PHONY: help all deps run down test bench fuzz layers sizes fmt fmt-check install clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

include $(sort $(wildcard tools/mk/*.mk))

all: $O/xebec ## build build/release/xebec, the CNI plugin, the images

$O/xebec: $(ROLE_OBJ) $(ARCHIVES)
	$(CC) $(LDFLAGS) -o $@ $(ROLE_OBJ) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LDLIBS)

define archive_rule
$O/lib$1.a: $(call libobj,$1)
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach l,$(LIBS),$(eval $(call archive_rule,$l)))

# only this file knows the version: a new commit must not rebuild everything
$O/control/base/version.o: CPPFLAGS += -DXEBEC_VERSION='"$(VERSION)"'

$O/%.o: %.c | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$O/$(GEN)/%.o: $(GEN)/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find build/$(BUILD) -name '*.d' 2>/dev/null)

deps: ## install the Debian packages that building, running and testing need
	tools/deps.sh

run: deps all ## a 2-node cluster on this machine, with an example deployed and shown
	tools/run.sh

down: ## stop the cluster of `make run` and remove every trace of it
	$O/xebec down

install: all ## install into $(DESTDIR)/usr/local
	install -Dm755 $O/xebec $(DESTDIR)/usr/local/bin/xebec
	install -Dm755 $O/xebec-cni $(DESTDIR)/usr/local/bin/xebec-cni
	install -Dm644 -t $(DESTDIR)/usr/local/share/xebec/images build/images/*.tar

layers: ## fail on an upward include
	tools/layers.sh

sizes: ## fail on functions over 80 lines, files over 1,200, headers over 200
	tools/sizes.sh

FMT_FILES = $(shell git ls-files '*.c' '*.h')
fmt: ## format the tree
	clang-format -i $(FMT_FILES)

fmt-check: ## fail where clang-format would change a file
	clang-format --dry-run -Werror $(FMT_FILES)

clean: ## remove build/
	rm -rf build
