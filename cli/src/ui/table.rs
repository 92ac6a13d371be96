//! Tables for people: columns of text without borders, so that they can be cut and grepped too.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// A titled table. Columns of numbers stand to the right.
pub fn columns(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    table.set_header(titles.iter().map(|t| t.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|text| {
            let number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
            let alignment = if number { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    finished(table)
}

/// Names and values, one pair a line.
pub fn facts(facts: &[(&str, String)]) -> String {
    let mut table = plain();
    for (name, value) in facts {
        table.add_row([(*name).to_owned(), value.clone()]);
    }
    finished(table)
}

/// Two spaces between columns, none at the edges.
fn finished(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn plain() -> Table {
    let mut table = Table::new();
    // As wide as the content: a pipe has no width, and a terminal wraps by itself.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["flights".to_owned(), "4".to_owned()], vec!["w".to_owned(), "12".to_owned()]];
        let text = columns(&["topic", "partitions"], rows.into_iter());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("TOPIC") && lines[0].ends_with("PARTITIONS"), "{text}");
        assert!(lines[1].starts_with("flights") && lines[1].ends_with(" 4"), "{text}");
        assert!(lines[2].starts_with("w ") && lines[2].ends_with(" 12"), "{text}");
    }
}
