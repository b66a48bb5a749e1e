# The CNI plugin as a static program of its own: a runtime starts it twice a pod, and loading the shared libraries of
# xebec would take longer than its work.
CNI_SRC := control/base/buf.c control/base/err.c control/base/str.c control/base/jv.c control/base/jv_valid.c control/base/file.c dataplane/cni_plugin.c
$O/xebec-cni: tools/cni/main.c $(CNI_SRC)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -std=gnu17 $(WARN) -Os -ffunction-sections -fdata-sections -static -s -Wl,--gc-sections -o $@ $^
all: $O/xebec-cni
