/* SPDX-License-Identifier: Apache-2.0
 * The verifier's work for each program stays within a budget (tests/bpf/verifier_budget): a jump
 * means that paths multiply, and that older kernels or longer tables will refuse the program. */
#include "harness.h"

#include <stdlib.h>

static void within_budget(void **state)
{
	char name[64];
	unsigned budget;
	int seen = 0;
	FILE *f = fopen("tests/bpf/verifier_budget", "r");
	(void)state;
	assert_non_null(f);
	while (fscanf(f, "%63s %u", name, &budget) == 2) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof info;
		int fd = maps_prog_fd_by_name(node.m, name);
		assert_true(fd >= 0);
		assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
		print_message("# %s: %u verified instructions, %u bytes\n", name,
			info.verified_insns, info.jited_prog_len);
		assert_true(info.verified_insns > 0);
		assert_in_range(info.verified_insns, 1, budget);
		seen++;
	}
	(void)fclose(f);
	assert_int_equal(seen, HOOK_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(within_budget)};
	return cmocka_run_group_tests_name("verifier", tests, node_setup, node_teardown);
}
