//! Tests of the project as a whole: what its files promise to whoever reads or changes them.

mod architecture;
mod documentation;
mod tree;
