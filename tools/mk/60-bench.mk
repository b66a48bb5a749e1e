# Benchmarks and fuzzers.
BENCH_BIN = $(patsubst tests/bench/%.c,$O/tests/bench/%,$(wildcard tests/bench/*.c))
ALL_LOW := kubelet dataplane client api store base
$O/tests/bench/%: tests/bench/%.c $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< -Wl,--start-group $(foreach l,$(ALL_LOW),$O/lib$l.a) -Wl,--end-group $(LDLIBS)

bench: all $(BENCH_BIN) ## figures: "name value unit bar ok|short"; build/bench.json
	tests/bench/run

FUZZ_SECONDS ?= 10
FUZZ_BIN = $(patsubst tests/fuzz/%.c,build/fuzz/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
build/fuzz/tests/fuzz/%: tests/fuzz/%.c $(foreach l,base api store client apiserver kubelet dataplane,build/fuzz/lib$l.a)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(foreach l,base api store client apiserver kubelet dataplane,build/fuzz/lib$l.a) -Wl,--end-group $(LDLIBS)

.PHONY: fuzz-binaries
fuzz-binaries: $(FUZZ_BIN)
fuzz: ## every fuzzer for FUZZ_SECONDS (10)
	$(MAKE) BUILD=fuzz CC=clang fuzz-binaries
	@for f in $(FUZZ_BIN); do mkdir -p build/corpus/$$(basename $$f); echo $$f; \
		$$f -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 build/corpus/$$(basename $$f) || exit 1; done
