//! Histories of a network that loses, delays, doubles and parts, each from one seed.
