"""How RapidPro speaks to mailroom: over HTTP for answers, through Redis for work."""
