//! Builds files requests from a permit's bound parameters. Nothing else in a request affects what
//! is done.

use countersign_keys::bind::{Items, Projection};
use countersign_keys::json::Json;

use crate::files::request::{Browse, CreateFolder, FilesRequest, MoveOrCopy, Retrieve, Trash};

/// The files request of a call. Returns `None` if the call is not about files.
pub(super) fn files_request(call: &str, items: &Items<'_>) -> Option<FilesRequest> {
    let each = items.projections();
    let shown = |name: &str| items.body().member(name).or_else(|| items.body().member(&capitalised(name)));
    Some(match call {
        "files.browse" => FilesRequest::Browse(browse(each.first()?, shown("browse")?)),
        "files.retrieve" => FilesRequest::Retrieve(Retrieve { id: text(each.first()?, "id") }),
        "files.createFolder" => FilesRequest::CreateFolder(
            each.iter()
                .map(|item| CreateFolder { id: text(item, "id"), conflict_policy: text(item, "conflictPolicy") })
                .collect(),
        ),
        "files.move" => FilesRequest::Move(each.iter().map(move_or_copy).collect()),
        "files.copy" => FilesRequest::Copy(each.iter().map(move_or_copy).collect()),
        "files.trash" => FilesRequest::Trash(each.iter().map(|item| Trash { id: text(item, "id") }).collect()),
        "files.emptyTrash" => {
            FilesRequest::EmptyTrash(each.iter().map(|item| Trash { id: text(item, "id") }).collect())
        }
        _ => return None,
    })
}

/// Only the path is bound. Paging, sorting and filters are not: they affect only the display.
fn browse(item: &Projection<'_>, shown: &Json<'_>) -> Browse {
    let string = |value: Option<&Json<'_>>| value.and_then(Json::as_str).map(str::to_owned);
    let flags = shown.member("flags");
    let flag = |name: &str| flags.and_then(|flags| flags.member(name));
    Browse {
        path: text(item, "path"),
        items_per_page: shown.member("itemsPerPage").and_then(Json::as_integer).unwrap_or(0),
        next: string(shown.member("next")),
        sort_by: string(shown.member("sortBy")).unwrap_or_default(),
        sort_direction: string(shown.member("sortDirection")).unwrap_or_default(),
        filter_hidden_files: flag("filterHiddenFiles").and_then(Json::as_bool).unwrap_or(false),
        filter_by_file_extension: string(flag("filterByFileExtension")),
    }
}

fn move_or_copy(item: &Projection<'_>) -> MoveOrCopy {
    MoveOrCopy {
        old_id: text(item, "oldId"),
        new_id: text(item, "newId"),
        conflict_policy: text(item, "conflictPolicy"),
    }
}

/// A bound parameter's text. Empty if the parameter is not a string: no file has an empty name.
pub(super) fn text(item: &Projection<'_>, name: &str) -> String {
    item.parameter(name).as_str().unwrap_or_default().to_owned()
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
