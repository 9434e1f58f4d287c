"""What COCO-form annotation files hold, in whatever form people have them, read into one form."""
