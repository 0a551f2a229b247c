"""Headers: what a browser is told about every answer, errors, cached answers, admin and documentation included; CORS."""
