# Generated sources: name them in GENERATED (headers that must exist before compiling) and gensrc_<lib>.
GENERATED :=

# Schema text -> const tables: control/api/schema/README.md.
SCHEMAC := build/host/schemac
$(SCHEMAC): tools/schemac.c
	@mkdir -p $(@D)
	$(HOSTCC) -std=gnu17 -D_GNU_SOURCE -O1 $(WARN) -o $@ $<

API_SCHEMA := $(wildcard control/api/schema/*.schema)
$(GEN)/api_schema.c: $(SCHEMAC) $(API_SCHEMA)
	@mkdir -p $(@D)
	$(SCHEMAC) api_schema $@ $(API_SCHEMA)
gensrc_api := $(GEN)/api_schema.c

ifneq ($(wildcard control/kubelet/cri.schema),)
$(GEN)/cri_schema.c: $(SCHEMAC) control/kubelet/cri.schema
	@mkdir -p $(@D)
	$(SCHEMAC) cri_schema $@ control/kubelet/cri.schema
gensrc_kubelet := $(GEN)/cri_schema.c
endif
