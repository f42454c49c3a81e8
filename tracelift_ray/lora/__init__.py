"""Low-rank adapters through PEFT: in a model, as merged weights, and as directories."""
