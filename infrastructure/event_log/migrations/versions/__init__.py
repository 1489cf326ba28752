"""One script a version; a script that was released is never edited."""
