//! Reads a log's records in order across its files, including those written meanwhile.

use std::io;

use super::layout::{LogLayout, Segment};
use super::reader::{Next, RecordReader};
use super::tree::Leaf;

#[derive(Debug)]
pub struct Records {
    layout: LogLayout,
    reading: Option<(u64, RecordReader)>,
}

impl Records {
    pub const fn from_the_oldest(layout: LogLayout) -> Self {
        Self { layout, reading: None }
    }

    /// Starts at the beginning of that file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn from(layout: LogLayout, segment: &Segment) -> io::Result<Self> {
        Ok(Self { layout, reading: Some((segment.number, RecordReader::open(&segment.path)?)) })
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
            self.reading = Some((next.number, RecordReader::open(&next.path)?));
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
        Ok(self.layout.segments()?.into_iter().find(|segment| segment.number > number))
    }
}
