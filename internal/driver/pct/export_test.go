package pct

// Classify is what the driver makes of a program that failed.
var Classify = classify
