"""Pretrain and fine-tune, from data to verdict."""
