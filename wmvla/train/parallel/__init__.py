"""Training on several devices and nodes: ranks, strategies (DDP, ZeRO, FSDP), and stopping in
order."""
