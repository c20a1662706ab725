"""Catalogue imports: from the uploaded file to rejections and removals."""
