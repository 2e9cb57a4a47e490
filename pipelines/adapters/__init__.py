"""Reversible changes of a loaded model: LoRA, ControlNet, IP-Adapter."""
