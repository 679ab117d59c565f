"""The encoder and its masked-LM head once more, differentiated by hand and compiled, for CPUs; tested against the plain one."""
