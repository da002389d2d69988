//! Services run and answer again, and what `ooy fix` says to bad input.
