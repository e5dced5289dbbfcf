//! Lanes, and nothing about formats.
