# Tests. A unit test tests/unit/<lib>/test_x.c links <lib> and the layers below it, built with ASan+UBSan.
.PHONY: test-unit test-bpf test-net test-e2e unit-binaries
LOW_base        := base
LOW_api         := api base
LOW_store       := store base
LOW_client      := client base
LOW_apiserver   := apiserver store client api base
LOW_controllers := controllers apiserver store client api base
LOW_scheduler   := scheduler client api base
LOW_kubelet     := kubelet client api base
LOW_dataplane   := dataplane client base
LOW_cluster     := cluster client api base
UNIT_SRC = $(wildcard tests/unit/*/test_*.c)
UNIT_BIN = $(patsubst %.c,$O/%,$(UNIT_SRC))

define unit_rule
$O/tests/unit/$1/test_%: tests/unit/$1/test_%.c $(foreach l,$(LOW_$1),$O/lib$l.a) | $(GENERATED)
	@mkdir -p $$(@D)
	$$(CC) $$(CPPFLAGS) -Itests/lib $$(CFLAGS) -MMD -MP $$(LDFLAGS) -o $$@ $$< -Wl,--start-group $(foreach l,$(LOW_$1),$O/lib$l.a) -Wl,--end-group $$(LDLIBS) -lcmocka
endef
$(foreach l,$(LIBS),$(eval $(call unit_rule,$l)))

unit-binaries: $(UNIT_BIN)

test: ## every test; ends with "N passed, N failed"
	tests/run unit bpf net e2e

test-unit: ## unit tests (ASan+UBSan)
	tests/run unit

test-bpf: ## packets through every BPF program (BPF_PROG_TEST_RUN)
	tests/run bpf

test-net: ## network namespaces: CNI, services, restarts under traffic
	tests/run net

test-e2e: ## a 2-node cluster with real kubectl and containerd
	tests/run e2e
