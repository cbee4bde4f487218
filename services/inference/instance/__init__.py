"""One instance: a process with one engine that serves ``Predict``.

``python -m services.inference.instance [ID]``; orders come as one JSON line on stdin, events go as JSON lines to stdout, logs to stderr.
It goes on serving while the bus is away. Started by the inference service it dies with it (the embedded mode leaves no process
behind); whoever starts instances otherwise, such as Kubernetes, sees no difference.
"""
