# The commands have folders of their own.
