"""The drill: hostile acts in a locked twin of every compartment, each shown to work unlocked."""
