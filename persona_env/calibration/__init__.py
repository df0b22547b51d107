"""Judges held against labels: which labels (`labels`), how they are compared (`calibrate`), what was found."""
