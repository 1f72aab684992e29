//! Tables, aligned by hand's eye and cut to the terminal's width, never where a program reads.

use std::fmt::Write;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width};

use super::{Plain, Terminal};

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers and sizes.
    Right,
}

/// Returns `rows` under `head` as lines: aligned and cut to the terminal's width on a terminal,
/// else separated by tabs, whole and without the head, as `cut` and `awk` want them.
pub(crate) fn render(terminal: &Terminal, head: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    if terminal.out_is_terminal() {
        // A terminal may not know its size.
        let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_col);
        aligned(head, rows, Some(if width == 0 { 80 } else { width.max(40) }))
    } else {
        separated(rows)
    }
}

fn separated(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().map(|cell| Plain(cell).to_string()).collect();
        writeln!(text, "{}", cells.join("\t")).expect("a string takes every text");
    }
    text
}

/// Returns an aligned table, no wider than `width`.
pub(crate) fn aligned(head: &[(&str, Align)], rows: &[Vec<String>], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    let mut names = Row::from(head.iter().map(|(name, _)| name.to_uppercase()));
    names.max_height(1);
    table.set_header(names);
    for row in rows {
        table.add_row(row.iter().map(|cell| Plain(cell).to_string()));
        if let Some(row) = table.row_mut(table.row_count() - 1) {
            row.max_height(1);
        }
    }
    for (at, (_, align)) in head.iter().enumerate() {
        let Some(column) = table.column_mut(at) else { continue };
        column.set_padding((0, 2));
        column.set_cell_alignment(match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        });
        if *align == Align::Right {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(8)));
        }
    }
    if let (Some(width), Some(column)) = (width, table.column_mut(0)) {
        // The first column says which one it is: the others are cut before it.
        let longest = rows.iter().filter_map(|row| row.first()).map(|cell| cell.chars().count());
        let longest = longest.max().and_then(|longest| u16::try_from(longest + 2).ok());
        let least = longest.unwrap_or(u16::MAX).min(26).min(width / 2);
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least)));
    }
    let mut text = String::new();
    for line in table.lines() {
        writeln!(text, "{}", line.trim_end()).expect("a string takes every text");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[(&str, Align)] = &[("name", Align::Left), ("size", Align::Right)];

    fn rows() -> Vec<Vec<String>> {
        vec![
            vec!["swift-otter-12".to_owned(), "4.1 MB".to_owned()],
            vec!["a\u{1b}[2J".to_owned(), "12 B".to_owned()],
        ]
    }

    #[test]
    fn a_terminal_gets_aligned_columns() {
        insta::assert_snapshot!(aligned(HEAD, &rows(), Some(60)), @r#"
        NAME              SIZE
        swift-otter-12  4.1 MB
        a\x1b[2J          12 B
        "#);
    }

    #[test]
    fn a_narrow_terminal_gets_cut_cells_and_one_line_a_row() {
        let text = aligned(HEAD, &rows(), Some(20));

        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 20), "{text}");
    }

    #[test]
    fn the_first_column_is_cut_last() {
        let head = &[("name", Align::Left), ("status", Align::Left), ("command", Align::Left)];
        let row = ["swift-otter-12", "CancelRequested", "train.py --lr 0.1"].map(str::to_owned);

        let text = aligned(head, &[row.to_vec()], Some(40));

        assert!(text.contains("swift-otter-12  Cancel"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    }

    #[test]
    fn a_program_gets_whole_cells_between_tabs() {
        assert_eq!(separated(&rows()), "swift-otter-12\t4.1 MB\na\\x1b[2J\t12 B\n");
    }
}
