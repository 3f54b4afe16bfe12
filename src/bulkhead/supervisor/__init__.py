"""The cell supervisor: binds listeners, executes the images, locks and restarts compartments. Standard library only."""
