"""Pretrained networks out of ordinary packages; gallery.py runs them."""
