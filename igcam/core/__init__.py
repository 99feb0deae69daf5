"""What every room needs: errors, atomic files, options, parallel maps, progress."""
