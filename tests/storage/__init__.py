"""Tests of disks and their images; `qemu` is what several of them judge by."""
