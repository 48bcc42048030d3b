"""Where the marks of the report's figures stand. Pure: figures in, coordinates out."""
