"""Which release this is: CASEPRO_VERSION, which the image has."""

from stand_in.release import release

RELEASE = release("CASEPRO_VERSION")
