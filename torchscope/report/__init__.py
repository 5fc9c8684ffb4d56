"""What is shared, drawn: as a page, as SVG, and as text for Graphviz and Mermaid."""
