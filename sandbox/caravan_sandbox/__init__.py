"""A simulated cloud and simulated kube-apiservers, for where nothing real can run. Nothing in here runs a workload."""
