window.temba = window.temba || {};
