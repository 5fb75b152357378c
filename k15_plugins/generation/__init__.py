"""The seams to the engines that generate."""
