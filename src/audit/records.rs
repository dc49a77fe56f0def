//! Reads a log's records in order across its files, including those written meanwhile.

use std::io;

use super::lines::{Lines, Next};
use super::place::{LogPlace, Segment};
use super::tree::Leaf;

#[derive(Debug)]
pub struct Records {
    place: LogPlace,
    reading: Option<(u64, Lines)>,
}

impl Records {
    pub const fn from_the_oldest(place: LogPlace) -> Self {
        Self { place, reading: None }
    }

    /// Starts at the beginning of that file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn from(place: LogPlace, segment: &Segment) -> io::Result<Self> {
        Ok(Self { place, reading: Some((segment.number, Lines::open(&segment.path)?)) })
    }

    /// Reads the next record into `leaf`. `false` if there is none yet.
    ///
    /// # Errors
    /// If a file cannot be read, or has an invalid line.
    pub fn next(&mut self, leaf: &mut Leaf) -> io::Result<bool> {
        loop {
            if self.read(leaf)? == Next::Record {
                return Ok(true);
            }
            let Some(next) = self.following()? else { return Ok(false) };
            // A file with a successor is finished, but may have grown since it was read.
            if self.read(leaf)? == Next::Record {
                return Ok(true);
            }
            self.reading = Some((next.number, Lines::open(&next.path)?));
        }
    }

    /// As [`Self::next`], without continuing in the next file.
    ///
    /// # Errors
    /// As of [`Self::next`].
    pub fn next_here(&mut self, leaf: &mut Leaf) -> io::Result<bool> {
        Ok(self.read(leaf)? == Next::Record)
    }

    fn read(&mut self, leaf: &mut Leaf) -> io::Result<Next> {
        let Some((_, lines)) = &mut self.reading else { return Ok(Next::End) };
        match lines.next(leaf)? {
            Next::TooLong => Err(io::Error::other("a line is longer than any record")),
            next @ (Next::Record | Next::End | Next::Torn) => Ok(next),
        }
    }

    fn following(&self) -> io::Result<Option<Segment>> {
        let number = self.reading.as_ref().map_or(0, |(number, _)| *number);
        Ok(self.place.segments()?.into_iter().find(|segment| segment.number > number))
    }
}
