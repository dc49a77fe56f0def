//! Checkpoints kept elsewhere: notes in a file, or lines of a system log.

use super::note;

/// Marks a checkpoint in a line.
const MARK: &str = "countersign checkpoint: ";

/// A checkpoint on one line, for a system log: the mark and the note's words. `None` for a note
/// with another number of signatures than one.
pub fn to_line(note: &str) -> Option<String> {
    let (text, signatures) = note.split_once("\n\n")?;
    let mut lines = text.lines();
    let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
    let signature = signatures.trim_end().rsplit(' ').next()?;
    let is_whole = lines.next().is_none() && signatures.lines().count() == 1;
    is_whole.then(|| format!("{MARK}{origin} {size} {root} {signature}"))
}

/// The checkpoints in a text of either kind, as notes.
pub fn notes(text: &str) -> Vec<String> {
    let marked: Vec<String> = text.lines().filter_map(from_line).collect();
    if marked.is_empty() { note::split(text).into_iter().map(str::to_owned).collect() } else { marked }
}

fn from_line(line: &str) -> Option<String> {
    let mut words = line.split_once(MARK)?.1.split_whitespace();
    let (origin, size, root, signature) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(format!("{origin}\n{size}\n{root}\n\n\u{2014} {origin} {signature}\n"))
}

#[cfg(test)]
mod tests {
    use countersign_keys::secret::Secret;

    use super::*;
    use crate::note::SigningKey;
    use crate::tree::Hash;
    use crate::verify::Checkpoint;

    #[test]
    fn a_checkpoint_comes_back_out_of_a_system_log() {
        let key = SigningKey::from_seed("hpc.example.org/audit", &Secret::new([1; 32])).unwrap();
        let checkpoints = [7, 8].map(|size| Checkpoint { size, root: Hash([9; 32]) });
        let written = checkpoints.map(|checkpoint| checkpoint.sign(&key));
        let log =
            written.each_ref().map(|note| format!("Nov 23 02:00:00 hpc audit[7]: {}\nother\n", to_line(note).unwrap()));
        for text in [written.concat(), log.concat()] {
            let opened: Vec<_> =
                notes(&text).iter().map(|note| Checkpoint::open(note, key.public()).unwrap()).collect();
            assert_eq!(opened, checkpoints);
        }
        assert!(notes("").is_empty());
    }
}
