"""Live audio in whatever form it comes, put together as 16-bit samples."""
