//! A plot as a file of its own: with its title, a background, and the colours of a light and of a dark page.

use super::ink::escape;
use crate::report::document::Figure;

/// Lines of the page's style that define the colours, up to the end of the dark ones.
const STYLE: &str = include_str!("../style.css");

/// The room above the plot for title and note.
const HEAD: u32 = 46;

/// Returns the plot as the text of an SVG file.
pub(crate) fn standalone(figure: &Figure) -> String {
    let Figure { title, note, svg, .. } = figure;
    let (width, height) = (length(svg, "width"), length(svg, "height"));
    let all = height + HEAD;
    let (title, note, colours) = (escape(title), escape(note), colours());
    let plot = svg.replacen("<svg ", &format!("<svg y=\"{HEAD}\" "), 1);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{all}\" \
         viewBox=\"0 0 {width} {all}\" font-family=\"sans-serif\">\n<style>\n{colours}</style>\n\
         <rect width=\"{width}\" height=\"{all}\" fill=\"var(--card)\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\" fill=\"var(--ink)\">{title}</text>\n\
         <text x=\"10\" y=\"37\" font-size=\"11\" fill=\"var(--muted)\">{note}</text>\n{plot}\n</svg>\n"
    )
}

/// Returns the colours of the page.
fn colours() -> &'static str {
    STYLE.split_once("* {").map_or(STYLE, |(colours, _)| colours)
}

/// Returns the length that the drawing library has written in this attribute.
fn length(svg: &str, attribute: &str) -> u32 {
    let value = svg.split_once(&format!("{attribute}=\"")).map(|(_, rest)| rest);
    let digits = value.and_then(|rest| rest.split('"').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(480)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_title_note_and_colours_of_both_pages() {
        let figure = Figure {
            title: "a < b".to_owned(),
            note: "less is better".to_owned(),
            svg: "<svg role=\"img\" width=\"480\" height=\"100\"></svg>".to_owned(),
            file: Some("x"),
        };
        let text = standalone(&figure);
        assert!(text.contains("height=\"146\"") && text.contains("<svg y=\"46\" role"), "{text}");
        assert!(text.contains("a &lt; b") && text.contains("less is better"), "{text}");
        assert!(text.contains("prefers-color-scheme: dark") && text.contains("--c15:"), "{text}");
        assert!(!text.contains("box-sizing"), "{text}");
    }
}
