"""The core: knows no instrument by name and no orchestrator."""
