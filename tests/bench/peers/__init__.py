"""One small program for each reader: a path a line in, an answer a line out. They run in environments that hold nothing of Inkwright's."""
