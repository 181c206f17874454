"""Tables and figures, made from result records alone; imports pandas and matplotlib, nothing heavier."""
