"""The tests. ``typechecker`` checks every annotation of the package while they run; an int may stand for a float."""

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))
