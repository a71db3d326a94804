"""Read files of the user as texts with sections. Nothing outside the allowed folders is ever opened."""
