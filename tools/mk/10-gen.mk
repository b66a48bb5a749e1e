# Generated sources: name them in GENERATED (headers that must exist before compiling) and gensrc_<lib>.
GENERATED :=
