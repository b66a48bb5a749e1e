# BPF: bpf/xebec.bpf.c (programs, maps) and, once a family, every other bpf/*.c -> build/bpf/xebec.bpf.o -> build/gen/xebec.skel.h
BPF_FAMILIES := 4 6
BPF_OBJ   := build/bpf/xebec.o $(foreach f,$(BPF_FAMILIES),$(patsubst bpf/%.c,build/bpf/%$f.o,$(filter-out %.bpf.c,$(wildcard bpf/*.c))))
BPF_FLAGS := -g -O2 -target bpf -mcpu=v3 -std=gnu17 -fno-strict-aliasing -Wall -Wextra -Wshadow -Wundef -Wno-unused-parameter \
	-Iinclude -Ibpf -I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
ifneq ($(CI),)
BPF_FLAGS += -Werror
endif
# Objects beside it, over the same maps: a kernel may refuse them without loss of the rest.
BPF_EXTRA := $(filter-out bpf/xebec.bpf.c,$(wildcard bpf/*.bpf.c))
GENERATED += $(GEN)/xebec.skel.h $(patsubst bpf/%.bpf.c,$(GEN)/%.skel.h,$(BPF_EXTRA))

build/bpf/xebec.o: bpf/xebec.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_FLAGS) -MMD -MP -c -o $@ $<

build/bpf/%4.o: bpf/%.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_FLAGS) -DFAMILY=4 -MMD -MP -c -o $@ $<

build/bpf/%6.o: bpf/%.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_FLAGS) -DFAMILY=6 -MMD -MP -c -o $@ $<

build/bpf/xebec.bpf.o: $(BPF_OBJ)
	bpftool gen object $@.tmp $(BPF_OBJ) && mv $@.tmp $@

$(patsubst bpf/%.c,build/bpf/%.o,$(BPF_EXTRA)): build/bpf/%.o: bpf/%.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_FLAGS) -MMD -MP -c -o $@ $<

$(GEN)/%.skel.h: build/bpf/%.bpf.o
	@mkdir -p $(@D)
	bpftool gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@
-include $(wildcard build/bpf/*.d)

# Packet tests: every tests/bpf/test_*.c with the harness.
BPF_TEST_BIN = $(patsubst %.c,$O/%,$(wildcard tests/bpf/test_*.c))
.PHONY: bpf-binaries
bpf-binaries: $(BPF_TEST_BIN)
$O/tests/bpf/test_%: tests/bpf/test_%.c $O/tests/bpf/harness.o $O/libdataplane.a $O/libclient.a $O/libbase.a | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $O/tests/bpf/harness.o \
		-Wl,--start-group $O/libdataplane.a $O/libclient.a $O/libbase.a -Wl,--end-group $(LDLIBS) -lcmocka
$O/tests/bpf/harness.o $O/tests/bpf/harness6.o: CPPFLAGS += -Itests/lib
$O/tests/bpf/harness6.o: tests/bpf/harness.c | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DFAMILY=6 $(CFLAGS) -MMD -MP -c -o $@ $<
# tests/bpf/test_*6.c are tests of IPv6.
$O/tests/bpf/test_%6: tests/bpf/test_%6.c $O/tests/bpf/harness6.o $O/libdataplane.a $O/libclient.a $O/libbase.a | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $O/tests/bpf/harness6.o \
		-Wl,--start-group $O/libdataplane.a $O/libclient.a $O/libbase.a -Wl,--end-group $(LDLIBS) -lcmocka

# Helpers of the network tests: tests/net/*.c, a program each.
NET_TOOLS = $(patsubst %.c,$O/%,$(wildcard tests/net/*.c))
.PHONY: net-binaries
net-binaries: $(NET_TOOLS)
$O/tests/net/%: tests/net/%.c $O/libdataplane.a $O/libclient.a $O/libbase.a | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< \
		-Wl,--start-group $O/libdataplane.a $O/libclient.a $O/libbase.a -Wl,--end-group $(LDLIBS)

$O/tests/bench/bench_bpf $O/tests/bench/bench_xdp: $O/tests/bench/%: tests/bench/%.c $O/tests/bpf/harness.o $O/libdataplane.a $O/libclient.a $O/libbase.a | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib -Itests/bpf $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $O/tests/bpf/harness.o \
		-Wl,--start-group $O/libdataplane.a $O/libclient.a $O/libbase.a -Wl,--end-group $(LDLIBS) -lcmocka

$O/tests/bench/bench_bpf6: tests/bench/bench_bpf6.c $O/tests/bpf/harness6.o $O/libdataplane.a $O/libclient.a $O/libbase.a | $(GENERATED)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib -Itests/bpf $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $O/tests/bpf/harness6.o \
		-Wl,--start-group $O/libdataplane.a $O/libclient.a $O/libbase.a -Wl,--end-group $(LDLIBS) -lcmocka
