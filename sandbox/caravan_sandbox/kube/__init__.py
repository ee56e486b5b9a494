"""The simulated kube-apiserver: objects, rules and answers. Only `kube.api` and `kube.watch` know HTTP."""
