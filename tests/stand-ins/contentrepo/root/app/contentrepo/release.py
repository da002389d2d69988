"""Which release this is: CONTENTREPO_VERSION, which the image has."""

from stand_in.release import release

RELEASE = release("CONTENTREPO_VERSION")
